// The SDRAM chip at the port `sdram` of a design that `write_cxxrtl` has made, where it has one.
#pragma once
#include <type_traits>

#include "sdram_chip.h"

template <class Design, class = void>
struct CxxrtlSdram {
    explicit CxxrtlSdram(Design &) {}
    Sdram *chip() { return nullptr; }
    void offer() {}
    void take() {}
};

template <class Design>
struct CxxrtlSdram<Design, std::void_t<decltype(&Design::p_sdram____dq__i)>> {
    explicit CxxrtlSdram(Design &design) : design(design) {}
    Sdram *chip() { return &made; }

    // Before the rising edge of the port's clock, and with the outputs as they are then.
    void offer() { design.p_sdram____dq__i.template set<uint16_t>(made.dq_i()); }
    void take() {
        made.clock({bits(design.p_sdram____ras__n), bits(design.p_sdram____cas__n), bits(design.p_sdram____we__n),
                    bits(design.p_sdram____bank), bits(design.p_sdram____address), bits(design.p_sdram____dq__o),
                    bits(design.p_sdram____dq__oe)});
    }

private:
    Design &design;
    SdramChip made;

    template <size_t Bits>
    static uint32_t bits(const cxxrtl::value<Bits> &port) { return port.data[0]; }
    template <size_t Bits>
    static uint32_t bits(const cxxrtl::wire<Bits> &port) { return port.curr.data[0]; }
};
