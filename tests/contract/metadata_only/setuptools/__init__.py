"""In place of setuptools, while pip downloads a source distribution that nobody builds."""
