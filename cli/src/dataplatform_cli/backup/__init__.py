"""`dp backup` and `dp restore`: all databases, all buckets and the keys, in one folder.

databases/<name>.dump   pg_dump's custom format
buckets/<name>.tar      every object under its key
keys.json               the secrets of .env without which stored credentials can't be read
manifest.json           what is in it, with sizes, hashes and row counts; written last
"""

from dataplatform_cli.backup.manifest import check, read
from dataplatform_cli.backup.restore import restore
from dataplatform_cli.backup.take import take

__all__ = ["check", "read", "restore", "take"]
