"""What `devregs --help` says."""

CODES = """\
exit codes:
  0    done
  1    the answer is no: a map has errors, nothing was found, an access is refused, a check failed
  2    the command line is wrong
  3    the source cannot be opened
  4    the bus answered with a fault
  5    a wait ran out of time
  130  ended by Ctrl-C"""

TEXT = (
    """\
usage: devregs COMMAND [OPTION…] …

Registers of devices: look at them, read them, write them. Each access is one access on the bus,
and a register is read only where that changes nothing, or where you name it.

commands:
{commands}

devregs COMMAND --help tells more.

sources:
  uio:NAME, uio:NUMBER            a UIO device
  pci:0000:01:00.0, pci:10ee:7021 a PCI function, by address or by vendor and device
  mem:0xADDRESS                   physical memory, through /dev/mem
  ram:ADDRESS                     the same for RAM, which mem: refuses
  file:PATH                       a file
  mock:                           no device: memory that behaves as the map says
  replay:PATH                     a recording of a trace, played back

options of all commands that open a source:
  --map MAP      a map of the library, or a file; without it, the one that fits the source
  --board FILE   a board map: devices by name take the place of sources
  --no-verify    open even where the device is not what the map expects
  --shared       while writing, keep out other processes that opened the device so
  --root DIR     where /dev, /sys and /proc are
  --json         print data as JSON

"""
    + CODES
    + """

examples:
  devregs scan
  devregs dump uio:labgpio
  devregs read uio:labgpio DIR DATA.PIN
  devregs write uio:labgpio CTRL.EN=1 CTRL.MODE=FAST
  devregs snapshot uio:labgpio -o before.json
  devregs diff before.json uio:labgpio
  devregs --board lab.toml read gpio.DIR"""
)
