"""The browser interface: `iconface-video serve`. Nothing here needs the internet, neither the server nor the page."""
