"""Text to tokens and back: tokenizers that never turn text into control ids, split points, overlap, similarity."""
