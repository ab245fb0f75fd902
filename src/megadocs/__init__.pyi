# The types of the lazily imported names, for type checkers and editors.
from megadocs.api import MegadocsError as MegadocsError
from megadocs.api import OpenWorkspace as OpenWorkspace
from megadocs.api import Plan as Plan
from megadocs.api import Recipe as Recipe
from megadocs.api import Results as Results
from megadocs.api import Streams as Streams
from megadocs.api import load_recipe as load_recipe
from megadocs.api import open_workspace as open_workspace
from megadocs.api import plan as plan
from megadocs.api import recipe_names as recipe_names
from megadocs.api import run as run

__version__: str
__all__: list[str]
