package protocol

import "testing"

// TestNumbersAreParsedAsInC, because memcached uses strtoul and its relatives.
func TestNumbersAreParsedAsInC(t *testing.T) {
	for _, n := range []struct {
		text  string
		u64   uint64
		u64ok bool
		u32   uint32
		i32   int32
		i32ok bool
	}{
		{"0", 0, true, 0, 0, true},
		{"42", 42, true, 42, 42, true},
		{" \t42 ", 42, true, 42, 42, true},
		{"+5", 5, true, 5, 5, true},
		{"-0", 0, true, 0, 0, true},
		{"-1", 0, false, 0, -1, true},
		{"-18446744073709551615", 1, true, 1, 0, false},
		{"007", 7, true, 7, 7, true},
		{"4294967295", 1<<32 - 1, true, 1<<32 - 1, -1, true},
		{"4294967301", 1<<32 + 5, true, 5, 5, true},
		{"9223372036854775807", 1<<63 - 1, true, 1<<32 - 1, -1, true},
		{"9223372036854775808", 1 << 63, true, 0, 0, false},
		{"18446744073709551615", 1<<64 - 1, true, 1<<32 - 1, 0, false},
		{"18446744073709551616", 0, false, 0, 0, false},
		{"", 0, false, 0, 0, false},
		{"-", 0, false, 0, 0, false},
		{"x", 0, false, 0, 0, false},
		{"5x", 0, false, 0, 0, false},
		{"5\x00x", 5, true, 5, 5, true},
	} {
		if got, ok := parseUint([]byte(n.text)); ok != n.u64ok || ok && got != n.u64 {
			t.Errorf("%q as 64 bits: %d, %v", n.text, got, ok)
		}
		if got, ok := parseUint32([]byte(n.text)); ok != n.u64ok || ok && got != n.u32 {
			t.Errorf("%q as 32 bits: %d, %v", n.text, got, ok)
		}
		if got, ok := parseInt32([]byte(n.text)); ok != n.i32ok || ok && got != n.i32 {
			t.Errorf("%q with a sign: %d, %v", n.text, got, ok)
		}
	}
}
