"""From YAML to components: the schema, its checks, and one sentence for each mistake.

What tests of an option of your own need; the commands and ``embexp.api`` use the rest.
"""

from embexp.config.check import check
from embexp.config.schema import COMPONENTS, Config, register
from embexp.package import conf_dir

__all__ = ["COMPONENTS", "Config", "check", "conf_dir", "register"]
