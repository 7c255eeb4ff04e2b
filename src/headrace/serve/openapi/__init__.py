"""A description of a server: a document in OpenAPI, and a page that shows the document and can send requests.

Begin with `document`. The page's script reads the document, so the page shows nothing that isn't in the document.
"""
