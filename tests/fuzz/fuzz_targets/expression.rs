//! A value, in a job that gives it something to refer to.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let start = br#"variable "s" {
  default = "text"
}
variable "l" {
  default = ["a", "b", 3]
}
variable "o" {
  default = { k = "v", n = { m = [1, null] } }
}
locals {
  n = 5
}
job "a" {
  group "g" {
    task "t" {
      driver = "exec"
      env {
        X = "${NOMAD_PORT_http}"
      }
      config {
        x = "#;
    let end = b"\n      }\n    }\n  }\n}\n";
    fuzz::check("a.nomad.hcl", &[start.as_slice(), bytes, end].concat());
});
