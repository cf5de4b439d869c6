"""The RTL in simulation, many pictures in one run: yosys' netlist as C++, a picture in every lane of the vectors."""
