"""uniqore's FPGA boards: builds, reports and host programs."""
