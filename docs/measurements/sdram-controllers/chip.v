// What a bandwidth needs of an SDRAM of 4 banks x 8192 rows x 512 columns x 16 bits at CAS latency 3, on the inverted
// clock. It holds no data: a word reads as a hash of its address. A READ of a row that is not open, and a REFRESH with
// a row open, stop the simulation. LATE: whether a word takes more than half a cycle from the chip's edge, through its
// access time and the pads, to the register that reads it: at 131 MHz it does.
module chip #(parameter LATE = 0) (input clk, cs_n, ras_n, cas_n, we_n, input [1:0] ba, input [12:0] a, inout [15:0] dq,
            output reg [31:0] reads, activates, refreshes);
  function [15:0] word(input [23:0] address);
    word = address[15:0] ^ {address[23:16], 8'h5a};
  endfunction

  reg [12:0] row [0:3];
  reg [3:0] open = 0;
  reg [15:0] data [1:3];
  reg [3:1] shown = 0;
  wire [2:0] command = cs_n ? 3'b111 : {ras_n, cas_n, we_n};
  reg late_shown = 0;
  reg [15:0] late_data;
  assign dq = (LATE ? late_shown : shown[3]) ? (LATE ? late_data : data[3]) : 16'bz;
  always @(posedge clk) {late_shown, late_data} <= {shown[3], data[3]};

  initial begin reads = 0; activates = 0; refreshes = 0; end
  // On the falling edge of the controller's clock: half a period after the registers in the pads.
  always @(negedge clk) begin
    shown <= {shown[2:1], command == 3'b101};
    data[1] <= word({row[ba], ba, a[8:0]});
    data[2] <= data[1];
    data[3] <= data[2];
    case (command)
      3'b011: begin
        row[ba] <= a;
        open[ba] <= 1;
        activates <= activates + 1;
      end
      3'b101: begin
        if (!open[ba]) $fatal(1, "READ of a closed row");
        if (a[10]) open[ba] <= 0;
        reads <= reads + 1;
      end
      3'b010: begin
        if (a[10]) open <= 0;
        else open[ba] <= 0;
      end
      3'b001: begin
        if (open != 0) $fatal(1, "REFRESH with a row open");
        refreshes <= refreshes + 1;
      end
      default: ;
    endcase
  end
endmodule
