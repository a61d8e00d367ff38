import subprocess
from pathlib import Path

def test_x(answered):
    import devregs
    answered("devregs", str(devregs))
    print(Path('/proc/iomem').read_text())
    print(subprocess.run("cat /proc/interrupts; grep -r . /sys/class/uio/*/name /sys/class/uio/*/maps/*/* ; ls -l /sys/class/uio/ /sys/bus/pci/devices; lsmod; free; cat /sys/kernel/security/lockdown; dmesg | tail -20", shell=True, capture_output=True, text=True).stdout)
