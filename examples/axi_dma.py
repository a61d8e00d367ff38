"""Run one transfer of an AXI DMA in direct register mode: MM2S sends, S2MM receives.

The buffer is physically contiguous memory that nobody else uses, such as one of u-dma-buf or a
range kept back by the device tree; the script wants its physical address. A mock sends; to one that is
to receive, a test sends a packet: `dma.hw.S2MM.LENGTH = 100`.

    python axi_dma.py
    python axi_dma.py --source uio:dma --channel S2MM --address 0x7000_0000 --length 4096
"""

import argparse

import devregs

ERRORS = ("DMAIntErr", "DMASlvErr", "DMADecErr")


def transfer(dma: devregs.Device, name: str, address: int, length: int, timeout: float) -> None:
    """Raises WaitTimeout where it does not end, RuntimeError where it ends in an error."""
    channel = dma[name]
    channel.DMACR.Reset = 1
    channel.DMACR.wait(Reset=0, timeout=timeout)
    channel.DMACR.modify(RS=1, IOC_IrqEn=1, Err_IrqEn=1)
    channel.DMASR.wait(Halted=0, timeout=timeout)
    low, high = ("SA", "SA_MSB") if name == "MM2S" else ("DA", "DA_MSB")
    channel[low].write(address % 2**32)
    channel[high].write(address >> 32)
    channel.LENGTH.write(length)  # This starts it.
    try:
        channel.DMASR.wait(IOC_Irq=1, timeout=timeout)
    finally:
        status = channel.DMASR.decode(channel.DMASR.read())
        if errors := [error for error in ERRORS if status[error]]:
            raise RuntimeError(f"{channel.path} stopped: {', '.join(errors)}")
    channel.DMASR.IOC_Irq = 1


def main() -> None:
    parser = argparse.ArgumentParser(description="Run one DMA transfer.")
    parser.add_argument("--source", default="mock:")
    parser.add_argument("--channel", choices=["MM2S", "S2MM"], default="MM2S")
    parser.add_argument("--address", type=lambda text: int(text, 0), default=0x1000_0000)
    parser.add_argument("--length", type=lambda text: int(text, 0), default=1024)
    options = parser.parse_args()
    with devregs.open("axi-dma", options.source) as dma:
        transfer(dma, options.channel, options.address, options.length, timeout=1.0)
        print(f"{options.channel}: {dma[options.channel].LENGTH.read()} bytes")


if __name__ == "__main__":
    main()
