"""Where files land: a local folder now, object stores later. It knows nothing of FTP, ledger or Celery."""
