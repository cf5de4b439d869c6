// Any design, cycle by cycle and port by port: for tests and for looking around. Registers are ports here too.
#include "simulator.h"

EXPORT int uniqore_port_count(Simulator *) { return port_count; }
EXPORT const char *uniqore_port_name(Simulator *, int port) { return ports[port].name; }
EXPORT int uniqore_port_width(Simulator *, int port) { return ports[port].width; }

EXPORT Simulator *uniqore_inspect() { return new Simulator; }
EXPORT void uniqore_end_inspection(Simulator *simulator) { delete simulator; }
// A rising edge of the clocks of set `clocks`.
EXPORT void uniqore_step(Simulator *simulator, int clocks) {
    steps[clocks](simulator->shared, simulator->blocks, simulator->end);
}
// Numbers are little-endian uint32 words.
EXPORT void uniqore_get(Simulator *simulator, int port, int lane, uint32_t *words) {
    simulator->get(ports + port, lane, words);
}
EXPORT void uniqore_set(Simulator *simulator, int port, int lane, const uint32_t *words) {
    simulator->set(ports + port, lane, words);
}
EXPORT int uniqore_lanes() { return LANES; }
EXPORT const char *uniqore_note(uint32_t number) { return notes[number]; }
