// The core as Verilator makes it from Verilog, behind the streams of streams.h. A port is an integer, or an array of them
// where it is wider than 64 bits; double underscores in its name are written ___05F.
#include <cstring>
#include <type_traits>

#include "Vcore.h"
#include "streams.h"

namespace {

template <class Port>
constexpr uint64_t words = (sizeof(Port) + 3) / 4;
template <class Port>
void read_record(Port &to, const uint32_t *from) { memcpy(&to, from, sizeof to); }
template <class Port>
void write_record(const Port &from, uint32_t *to) {
    to[words<Port> - 1] = 0;            // a narrow port is only a part of its word
    memcpy(to, &from, sizeof from);
}

// The SDRAM chip at the port `sdram`, where the core has one.
template <class Design, class = void>
struct SdramPort {
    explicit SdramPort(Design &) {}
    Sdram *chip() { return nullptr; }
    void offer() {}
    void take() {}
};
template <class Design>
struct SdramPort<Design, std::void_t<decltype(&Design::sdram___05Fdq_i)>> {
    Design &design;
    SdramChip made;

    explicit SdramPort(Design &design) : design(design) {}
    Sdram *chip() { return &made; }
    void offer() { design.sdram___05Fdq_i = made.dq_i(); }
    void take() {
        made.clock({design.sdram___05Fras_n, design.sdram___05Fcas_n, design.sdram___05Fwe_n, design.sdram___05Fbank,
                    design.sdram___05Faddress, design.sdram___05Fdq_o, design.sdram___05Fdq_oe});
    }
};

struct Core {
    VerilatedContext context;
    Vcore core{&context};
    bool pixel_offered = false;
    SdramPort<Vcore> sdram{core};
    static constexpr uint64_t load_words = words<decltype(core.load___05Fpayload)>,
                              pixels_words = words<decltype(core.pixels___05Fpayload)>,
                              logits_words = words<decltype(core.logits___05Fpayload)>,
                              data_words = words<decltype(core.trace___05Fdata)>;

    void load(bool valid, const uint32_t *record) {
        core.load___05Fvalid = valid;
        if (valid) read_record(core.load___05Fpayload, record);
    }
    void pixels(int, const uint32_t *record) { read_record(core.pixels___05Fpayload, record); }
    void pixels_valid(bool valid) { core.pixels___05Fvalid = valid; }
    void logits_ready(bool ready) { core.logits___05Fready = ready; }
    template <class Observe>
    void clock(uint64_t, Observe observe) {
        core.clk = 0;
        core.eval();
        observe();
        core.clk = 1;
        core.eval();
    }
    bool load_ready() const { return core.load___05Fready; }
    bool pixels_ready() const { return core.pixels___05Fready; }
    bool logits_valid() const { return core.logits___05Fvalid; }
    bool trace_valid() const { return core.trace___05Fvalid; }
    bool whole() const { return core.whole; }
    bool damaged() const { return core.damaged; }
    void logits(int, uint32_t *record) const { write_record(core.logits___05Fpayload, record); }
    void cycles(uint32_t *record) const { write_record(core.cycles, record); }
    void group(uint32_t *record) const { write_record(core.trace___05Fgroup, record); }
    void data(int, uint32_t *record) const { write_record(core.trace___05Fdata, record); }
    void undefined(Streams *) const {}
};

}  // namespace

EXPORT Core *uniqore_open(const char *) { return new Core; }
EXPORT void uniqore_close(Core *core) { delete core; }
EXPORT int uniqore_lanes() { return 1; }
EXPORT void uniqore_use_lanes(Core *, int) {}
EXPORT Sdram *uniqore_sdram(Core *core) { return core->sdram.chip(); }
EXPORT int uniqore_data_words(Core *core) { return int(core->data_words); }
EXPORT const char *uniqore_note(uint32_t) { return ""; }
EXPORT void uniqore_run(Core *core, Streams *streams, uint64_t max_cycles) { run_streams(*core, streams, max_cycles); }
