// Package protocol parses requests of memcached's protocols and formats answers. It is independent of the store, the clock and connections.
//
// The text protocol consists of lines of words. Text parses a line. After the line of a storage command there is a value, whose length is in the
// line, and CR LF. The meta commands, whose names have two letters, are a part of the text protocol; Request.Meta has their flags. The binary
// protocol consists of frames with a header of 24 bytes: Header parses it, Check checks the lengths in it, and Split divides the body.
//
// The slices in a Request are parts of the input, except for a decoded key, so a Request is valid as long as its input. No function allocates.
// The functions may be called from any goroutine, but a Request and a Frame must not be used concurrently.
package protocol
