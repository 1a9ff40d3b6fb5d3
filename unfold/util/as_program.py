"""For scripts: `import unfold.util.as_program` before torch sets up the threads of this process."""

from unfold.util.processors import prepare

prepare()
