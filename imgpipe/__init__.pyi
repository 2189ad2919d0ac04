from imgpipe.api import Result as Result
from imgpipe.api import dataset_definitions as dataset_definitions
from imgpipe.api import matte as matte
from imgpipe.api import process as process
from imgpipe.api import score as score
from imgpipe.api import upscale as upscale

__version__: str
