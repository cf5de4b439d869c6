// Sequential chunks from this project's controller, asked for as soon as it takes them.
module bench #(parameter CYCLES = 0, WARM = 5000);
  reg clk = 0, rst = 0;
  always #1 clk = ~clk;

  reg [14:0] chunk = 0;
  reg [23:0] expected = 0;
  reg [31:0] count = 0, cycle = 0, first_count, first_reads, first_activates, first_refreshes;
  wire [31:0] reads, activates, refreshes;
  wire taken, started, ras_n, cas_n, we_n, last, given;
  wire [1:0] ba;
  wire [12:0] a;
  wire [15:0] dq, word;

  own_core core(
    .clk(clk), .rst(rst), .sdram_a(a), .sdram_ba(ba), .sdram_cas_n(cas_n), .sdram_ras_n(ras_n), .sdram_we_n(we_n),
    .sdram_dq(dq), .reads__payload(chunk), .reads__valid(1'b1), .reads__ready(taken), .word({last, word, given}),
    .writes__payload(40'b0), .writes__valid(1'b0), .writes__ready(), .restart(1'b0), .restarted(), .ready(started),
    .idle());
  chip #(.LATE(1)) chip(.clk(clk), .cs_n(1'b0), .ras_n(ras_n), .cas_n(cas_n), .we_n(we_n), .ba(ba), .a(a), .dq(dq),
                        .reads(reads), .activates(activates), .refreshes(refreshes));

  always @(posedge clk) begin
    if (taken) chunk <= chunk + 1;
    if (given) begin
      if (word != chip.word(expected)) $fatal(1, "word %h is %h", expected, word);
      expected <= expected + 1;
      count <= count + 1;
    end
  end

  always @(posedge clk) if (started) begin
    cycle <= cycle + 1;
    if (cycle == WARM) begin
      first_count <= count;
      first_reads <= reads;
      first_activates <= activates;
      first_refreshes <= refreshes;
    end
    if (cycle == WARM + CYCLES) begin
      $display("%0d words, %0d READs, %0d ACTIVATEs, %0d REFRESHes in %0d cycles", count - first_count,
               reads - first_reads, activates - first_activates, refreshes - first_refreshes, CYCLES);
      $finish;
    end
  end
endmodule
