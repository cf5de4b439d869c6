// Sequential reads through LiteDRAM's native port, as many as it takes; its SDRAM is initialized over Wishbone, with
// the sequence of its generated C header.
module bench #(parameter CYCLES = 0, WARM = 5000);
  reg clk = 0, rst = 1;
  always #1 clk = ~clk;

  reg [23:0] address = 0, expected = 0;
  reg started = 0, written = 0;
  reg [29:0] adr;
  reg [31:0] value, count = 0, cycle = 0, first_count, first_reads, first_activates, first_refreshes;
  wire [31:0] reads, activates, refreshes;
  wire taken, given, ack, cs_n, ras_n, cas_n, we_n;
  wire [1:0] ba;
  wire [12:0] a;
  wire [15:0] dq, word;

  litedram_core core(
    .clk(clk), .rst(rst), .sdram_a(a), .sdram_ba(ba), .sdram_cas_n(cas_n), .sdram_ras_n(ras_n), .sdram_we_n(we_n),
    .sdram_cs_n(cs_n), .sdram_cke(), .sdram_dm(), .sdram_dq(dq), .init_done(), .init_error(), .user_clk(), .user_rst(),
    .user_port_native_0_cmd_addr(address), .user_port_native_0_cmd_valid(started),
    .user_port_native_0_cmd_ready(taken), .user_port_native_0_cmd_we(1'b0),
    .user_port_native_0_wdata_valid(1'b0), .user_port_native_0_wdata_ready(), .user_port_native_0_wdata_we(2'b0),
    .user_port_native_0_wdata_data(16'b0), .user_port_native_0_rdata_valid(given),
    .user_port_native_0_rdata_ready(1'b1), .user_port_native_0_rdata_data(word),
    .wb_ctrl_adr(adr), .wb_ctrl_dat_w(value), .wb_ctrl_dat_r(), .wb_ctrl_sel(4'hf), .wb_ctrl_cyc(written),
    .wb_ctrl_stb(written), .wb_ctrl_ack(ack), .wb_ctrl_we(written), .wb_ctrl_cti(3'b0), .wb_ctrl_bte(2'b0),
    .wb_ctrl_err());
  // LiteDRAM reads a cycle earlier, always: its clock would have to be earlier than half a cycle.
  chip #(.LATE(0)) chip(.clk(clk), .cs_n(cs_n), .ras_n(ras_n), .cas_n(cas_n), .we_n(we_n), .ba(ba), .a(a), .dq(dq),
                        .reads(reads), .activates(activates), .refreshes(refreshes));

  always @(posedge clk) begin
    if (started && taken) address <= address + 1;
    if (given) begin
      if (word != chip.word(expected)) $fatal(1, "word %h is %h", expected, word);
      expected <= expected + 1;
      count <= count + 1;
    end
  end

  task write(input [31:0] at, input [31:0] data);
    begin
      @(negedge clk) adr = at[31:2]; value = data; written = 1;
      @(posedge clk);
      while (!ack) @(posedge clk);
      @(negedge clk) written = 0;
    end
  endtask
  task command(input [31:0] a, input [31:0] bits, input integer cycles);
    begin
      write(32'h80c, a);                // address
      write(32'h810, 0);                // bank
      write(32'h804, bits);
      write(32'h808, 1);                // issue
      repeat (cycles) @(posedge clk);
    end
  endtask

  initial begin
    repeat (10) @(negedge clk);
    rst = 0;
    repeat (10) @(negedge clk);
    write(32'h800, 'h0e);               // software has the SDRAM; clock enabled
    repeat (26250) @(posedge clk);      // 200 us
    command('h400, 'h0b, 10);           // precharge all
    command('h130, 'h0f, 200);          // mode register: CAS 3, burst length 1
    command('h400, 'h0b, 10);
    command(0, 'h0d, 10);               // auto refresh
    command(0, 'h0d, 10);
    command('h030, 'h0f, 200);
    write(32'h800, 'h0f);               // the controller has it
    write(32'h000, 1);                  // init_done
    started = 1;
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
