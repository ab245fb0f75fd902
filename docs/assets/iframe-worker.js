// Pages opened as files may start no worker, and the search is one. Here a hidden frame stands in for it: the worker's
// script runs inside, messages go through the frame. Pages from a server keep their workers.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      inside.postMessage = (data) => this.dispatchEvent(Object.assign(new MessageEvent("message", { data })));
      inside.importScripts = (...addresses) => Promise.all(addresses.map((one) => this.load(one)));
      inside.__index = window.__index;
      this.load(address).then(() => {
        this.isReady = true;
        this.waiting.splice(0).forEach((data) => this.pass(data));
      });
      this.addEventListener("message", (event) => this.onmessage && this.onmessage(event));
    }
    load(address) {
      return new Promise((done) => {
        const script = this.frame.contentDocument.createElement("script");
        script.src = address;
        script.onload = done;
        this.frame.contentDocument.body.append(script);
      });
    }
    pass(data) {
      this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
    }
    postMessage(data) {
      this.isReady ? this.pass(data) : this.waiting.push(data);
    }
    terminate() {
      this.frame.remove();
    }
  };
}
