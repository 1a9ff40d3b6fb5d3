"""For scripts: `import unfold.util.as_program` before torch makes the process a program, whose threads are set up."""

from unfold.util.processors import prepare

prepare()
