// In the place of sim/lanes/sdram_port.h: the chip is clocked where the board is.
#pragma once
#include "simulator.h"

struct SdramPort {
    Simulator &design;

    Sdram *chip() { return design.shared->sdram.chip(); }
    void offer() {}
    void take() {}
};
