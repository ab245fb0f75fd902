from pipeline.ray_clusters import address, make_cluster, own_handlers

__all__ = ["address", "make_cluster", "own_handlers"]
