"""What a server says of itself: a document of OpenAPI, and the page that shows it and tries it out.

Begin with `document`. The page's script reads the document, so what isn't in the document isn't on the page.
"""
