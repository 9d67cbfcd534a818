from . import figures as figures, freezing as freezing
from .engine import run as run
from .finished import Finished as Finished, examples as examples, finished as finished
from .plan import Plan as Plan, read as read
from .results import ledger as ledger, stored as stored
from .sets import made as made
