"""Where files land: folders of this machine, object stores. It knows nothing of FTP, ledger or Celery."""
