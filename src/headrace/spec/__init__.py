"""The nouns that all layers share: frozen values, checked where they are made. Begin with `graph` and `stage`. Nothing
here touches clock, file, socket or environment."""
