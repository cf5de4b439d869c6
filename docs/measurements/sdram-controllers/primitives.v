// Cells of an ECP5 that the controllers are made of, for simulation: registers without their presets, and a pad.
module OFS1P3BX(input D, PD, SCLK, SP, output reg Q);
  always @(posedge SCLK) if (SP) Q <= D;
endmodule
module IFS1P3BX(input D, PD, SCLK, SP, output reg Q);
  always @(posedge SCLK) if (SP) Q <= D;
endmodule
module FD1S3BX(input D, PD, CK, output reg Q);
  always @(posedge CK or posedge PD) Q <= PD ? 1'b1 : D;
endmodule
module TRELLIS_IO #(parameter DIR = "") (inout B, input I, T, output O);
  assign B = T ? 1'bz : I;
  assign O = B;
endmodule
