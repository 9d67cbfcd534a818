"""Headless execution of the notebooks: run, measure, remember what is done, store, publish as pages."""
