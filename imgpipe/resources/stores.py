"""The stores as a Dagster resource: the same code for a folder and for S3."""

# No postponed annotations here: Dagster reads those of its resources.

from typing import Any

from dagster import ConfigurableResource, InitResourceContext, ResourceDependency
from dagster_aws.s3 import S3Resource
from pydantic import PrivateAttr

from imgpipe.config import Settings
from imgpipe.resources.naming import named
from imgpipe.resources.runs import SignOfLife
from imgpipe.settings import S3Settings
from imgpipe.storage.opening import Stores, open_stores
from imgpipe.storage.s3_client import s3_client


class SharedS3(S3Resource):
    """dagster-aws's resource; its client is the process's one, with imgpipe's time limits and checksums."""

    requester_pays: bool = False

    def get_client(self) -> Any:
        return s3_client(
            S3Settings(
                endpoint_url=self.endpoint_url,
                region=self.region_name,
                anonymous=self.use_unsigned_session,
                requester_pays=self.requester_pays,
            )
        )


class ImageStores(ConfigurableResource[Stores]):
    """Opens the source and the output of the configured data set; ``s3`` makes the client of those on S3.

    While a run uses it, the run's tags say which process works on it.
    """

    s3: ResourceDependency[S3Resource]

    _alive: SignOfLife | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: InitResourceContext) -> None:
        if context.run is not None and context.instance is not None:
            self._alive = SignOfLife(context.instance, context.run.run_id)

    def teardown_after_execution(self, context: InitResourceContext) -> None:
        if self._alive is not None:
            self._alive.end()

    def open(self, settings: Settings) -> Stores:
        """As :func:`~imgpipe.storage.opening.open_stores`."""
        places = (settings.source, settings.output)
        client = self.s3.get_client() if any(url.startswith("s3://") for url in places) else None
        return open_stores(settings, client=client)


def opened_stores(context: Any, settings: Settings) -> Stores:
    """The stores of an asset, check, sensor or schedule that requires :func:`stores_key`."""
    stores: ImageStores = getattr(context.resources, stores_key(settings))
    return stores.open(settings)


def stores_key(settings: Settings) -> str:
    """The key of the resource."""
    return named(settings, "stores")


def s3_resource(settings: S3Settings) -> S3Resource:
    """The resource with these settings; credentials from the environment."""
    return SharedS3(
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        use_unsigned_session=settings.anonymous,
        requester_pays=settings.requester_pays,
    )
