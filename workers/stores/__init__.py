"""Where files land: a folder of this machine or an object store. It knows nothing of FTP, ledger or Celery."""
