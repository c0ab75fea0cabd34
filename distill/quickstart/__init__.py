"""The bundled nano models of `distill run quickstart`, and how they were made (`build`, `corpus`)."""
