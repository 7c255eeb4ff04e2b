"""Values to bytes and back. Begin with `codecs`, then `registry`, which says which codec saves what. Nothing here
knows runs or stores, but for what `ports` asks of them."""
