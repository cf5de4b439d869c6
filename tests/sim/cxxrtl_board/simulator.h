// A board as yosys' `write_cxxrtl` makes it, in the place of sim/lanes/simulator.h: the driver of the simulated board
// drives both.
#pragma once
#include <cstdint>
#include <cstring>

#include "core.cc"
#include "cxxrtl_sdram.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

template <size_t Bits>
const cxxrtl::value<Bits> &current(const cxxrtl::value<Bits> &port) { return port; }
template <size_t Bits>
const cxxrtl::value<Bits> &current(const cxxrtl::wire<Bits> &port) { return port.curr; }

struct Port {};
struct Block {};
struct Shared {
    cxxrtl_design::p_core core;
    CxxrtlSdram<cxxrtl_design::p_core> sdram{core};
    uint8_t rx = 1, tx = 1, locked = 0;

    // One edge of the clocks that are true. Outputs are those before it.
    void rise(bool core_clock, bool host_clock) {
        core.p_rx.set<uint8_t>(rx);
        core.p_locked.set<uint8_t>(locked);
        if (core_clock) sdram.offer();
        core.step();
        if (core_clock) sdram.take();
        tx = uint8_t(current(core.p_tx).data[0]);
        core.p_clk.set<bool>(core_clock);
        core.p_host__clk.set<bool>(host_clock);
        core.step();
        core.p_clk.set<bool>(false);
        core.p_host__clk.set<bool>(false);
        core.step();
    }
};

typedef void (*Step)(Shared *, Block *, Block *);
static const Step steps[] = {
    [](Shared *shared, Block *, Block *) { shared->rise(true, false); },
    [](Shared *shared, Block *, Block *) { shared->rise(false, true); },
    [](Shared *shared, Block *, Block *) { shared->rise(true, true); }};

struct Simulator {
    Shared *shared = new Shared;
    Block *blocks = nullptr, *end = nullptr;

    Simulator() = default;
    Simulator(const Simulator &) = delete;
    ~Simulator() { delete shared; }

    uint8_t *flag(const char *name) {
        return !strcmp(name, "rx") ? &shared->rx : !strcmp(name, "tx") ? &shared->tx : &shared->locked;
    }
    static const Port *find(const char *) { return nullptr; }           // of the LEDs alone
    void get(const Port *, int, uint32_t *leds) const { *leds = current(shared->core.p_leds).data[0]; }
};
