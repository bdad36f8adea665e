"""The browser interface: `iconface-video serve`. Nothing here needs the internet, neither the server nor the page.

Touch freely: the page (`static/`), what it is told (`facts`). With care: `requests`, which keeps foreign pages and overlong uploads out.
"""
