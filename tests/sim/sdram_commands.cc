// The chip of sim/sdram_chip.h alone: what a port shows, cycle by cycle, goes in, and dq_i comes out.
#include "sdram_chip.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT SdramChip *open_chip() { return new SdramChip; }
EXPORT void close_chip(SdramChip *chip) { delete chip; }
EXPORT Sdram *uniqore_sdram(SdramChip *chip) { return chip; }

// Until a rule is broken. Returns the cycles that took.
EXPORT uint64_t run(SdramChip *chip, const SdramPins *pins, uint64_t count, uint16_t *dq_i) {
    for (uint64_t cycle = 0; cycle < count; cycle++) {
        dq_i[cycle] = chip->dq_i();
        chip->clock(pins[cycle]);
        if (chip->rule) return cycle + 1;
    }
    return count;
}
