"""The stores as a Dagster resource: the same code for a folder and for S3."""

# No postponed annotations here: Dagster reads those of its resources.

from typing import Any

from dagster import ConfigurableResource, ResourceDependency
from dagster_aws.s3 import S3Resource
from pydantic import PrivateAttr

from imgpipe.config import Settings
from imgpipe.engines.shard import Stores
from imgpipe.settings import S3Settings
from imgpipe.storage.opening import open_store
from imgpipe.storage.source_record import require_source


class ImageStores(ConfigurableResource[Stores]):
    """Opens the source and the output of the configured data set, once per run.

    ``s3`` makes the client where a URL is on S3; :meth:`S3Resource.get_client` makes a new one at every
    call, so the first one is kept.
    """

    s3: ResourceDependency[S3Resource]

    _client: Any = PrivateAttr(default=None)

    def open(self, settings: Settings) -> Stores:
        """Both stores.

        Raises :class:`StoreUnavailable`, and :class:`ConfigError` for a wrong address or where the data set
        was made from another source.
        """
        settings.require_source_and_output()
        stores = Stores(
            source=open_store(
                settings.source,
                settings.s3,
                client=self._client_for(settings.source),
                follow_links=settings.intake.follow_links,
            ),
            output=open_store(
                settings.output, settings.s3, create=True, client=self._client_for(settings.output)
            ),
        )
        require_source(stores.output, settings.dataset, stores.source.url)
        return stores

    def _client_for(self, url: str) -> Any:
        if not url.startswith("s3://"):
            return None
        if self._client is None:
            self._client = self.s3.get_client()
        return self._client


def s3_resource(settings: S3Settings) -> S3Resource:
    """dagster-aws's resource with the configured endpoint and region; credentials from the environment."""
    return S3Resource(endpoint_url=settings.endpoint_url, region_name=settings.region, max_attempts=5)
