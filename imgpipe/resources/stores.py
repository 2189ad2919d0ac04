"""The stores as a Dagster resource: the same code for a folder and for S3."""

# No postponed annotations here: Dagster reads those of its resources.

from typing import Any

from dagster import ConfigurableResource, InitResourceContext, ResourceDependency
from dagster_aws.s3 import S3Resource
from pydantic import PrivateAttr

from imgpipe.config import Settings
from imgpipe.engines.shard import Stores
from imgpipe.resources.runs import SignOfLife
from imgpipe.settings import S3Settings
from imgpipe.storage.opening import open_store


class ImageStores(ConfigurableResource[Stores]):
    """Opens the source and the output of the configured data set, once per run.

    ``s3`` makes the client where a URL is on S3; :meth:`S3Resource.get_client` makes a new one at every
    call, so the first one is kept. While a run uses it, the run's tags say which process works on it.
    """

    s3: ResourceDependency[S3Resource]

    _client: Any = PrivateAttr(default=None)
    _alive: SignOfLife | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: InitResourceContext) -> None:
        if context.run is not None and context.instance is not None:
            self._alive = SignOfLife(context.instance, context.run.run_id)

    def teardown_after_execution(self, context: InitResourceContext) -> None:
        if self._alive is not None:
            self._alive.end()

    def open(self, settings: Settings) -> Stores:
        """Both stores; raises :class:`ConfigError` or :class:`StoreUnavailable`."""
        settings.require_source_and_output()
        return Stores(
            source=open_store(settings.source, settings.s3, client=self._client_for(settings.source)),
            output=open_store(
                settings.output, settings.s3, create=True, client=self._client_for(settings.output)
            ),
        )

    def _client_for(self, url: str) -> Any:
        if not url.startswith("s3://"):
            return None
        if self._client is None:
            self._client = self.s3.get_client()
        return self._client


def s3_resource(settings: S3Settings) -> S3Resource:
    """dagster-aws's resource with the configured endpoint and region; credentials from the environment."""
    return S3Resource(endpoint_url=settings.endpoint_url, region_name=settings.region, max_attempts=5)
