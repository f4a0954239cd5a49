"""The object store on MinIO, or any server that speaks S3."""

from adapters.minio.limits import Limits
from adapters.minio.store import MinioStore

__all__ = ["Limits", "MinioStore"]
