"""`finesweep report`: what a sweep found, as a page, as Markdown and as pictures."""
