// The SDRAM chip at the port `sdram` of a design, where it has one.
#pragma once
#include <memory>

#include "sdram_chip.h"
#include "simulator.h"

class SdramPort {
public:
    explicit SdramPort(Simulator &design) : design(design) {
        if (dq_i) made.reset(new SdramChip);
    }
    Sdram *chip() { return made.get(); }            // none where the design has no port

    // Before and after a cycle of the port's clock.
    void offer() {
        if (!made) return;
        const uint32_t word = made->dq_i();
        design.set(dq_i, 0, &word);
    }
    void take() {
        if (!made) return;
        SdramPins pins;
        design.get(ras_n, 0, &pins.ras_n);
        design.get(cas_n, 0, &pins.cas_n);
        design.get(we_n, 0, &pins.we_n);
        design.get(bank, 0, &pins.bank);
        design.get(address, 0, &pins.address);
        design.get(dq_o, 0, &pins.dq_o);
        design.get(dq_oe, 0, &pins.dq_oe);
        made->clock(pins);
    }

private:
    Simulator &design;
    const Port *ras_n = Simulator::find("sdram__ras_n"), *cas_n = Simulator::find("sdram__cas_n"),
               *we_n = Simulator::find("sdram__we_n"), *bank = Simulator::find("sdram__bank"),
               *address = Simulator::find("sdram__address"), *dq_o = Simulator::find("sdram__dq_o"),
               *dq_oe = Simulator::find("sdram__dq_oe"), *dq_i = Simulator::find("sdram__dq_i");
    std::unique_ptr<SdramChip> made;
};
