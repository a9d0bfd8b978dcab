// Package websocket serves WebSockets on the event loops of package httpd, in any http.Handler:
//
//	echo, err := websocket.NewHandler(&websocket.Config{
//		Message: func(w websocket.Reply, t websocket.MessageType, p []byte) { _ = w.WriteMessage(t, p) },
//	})
//	...
//	mux.Handle("/echo", echo)
//	log.Fatal(httpd.ListenAndServe(":8080", mux))
//
// A [Handler] answers the opening handshake, as an http.Handler or by [Handler.Upgrade] in a handler of the program. From then on the loop of the
// connection reads its frames, and a message is given to Config.Message: on the loop while that is quick, otherwise on a worker; see
// server.Placement. The messages of a WebSocket are handled one at a time, in their order. A WebSocket that waits for a message holds no
// goroutine and no buffer.
//
// # Writing
//
// Config.Message answers by its [Reply]. Any goroutine writes to a [Conn], at any time, also when Message runs. A message is refused with an error,
// or accepted; then it is given to the kernel, or fails with the connection, and [Conn.WriteNotify] tells which. Writes do not wait: while as much
// output waits for a peer as Config.MaxOutput and the server permit, they fail with [ErrFull], and with Config.CutOffSlow the connection ends.
//
// A message for many is encoded, and compressed, once: see [Prepare], [Broadcast] and [Group].
//
// # Closing
//
// [Conn.Close] sends a close frame after what was written, and the connection ends when the peer has answered, or after Config.CloseTimeout. The close
// frame of the peer is answered with the same code. A peer that breaks a rule of RFC 6455 is sent the code that belongs to it: CloseProtocolError,
// CloseInvalidData for a text that is not UTF-8, CloseTooBig. Shutdown of the server closes each WebSocket with CloseGoingAway, and waits for the
// answers. Config.Closed is told how a WebSocket has ended.
//
// # Limits
//
// A message may have MaxMessage bytes. Messages in several frames, and compressed ones when they are decompressed, are held within MaxFragments for all
// WebSockets together, and a frame that is not complete counts as input of the server, within its MaxBuffered. A ping is answered in its turn: after
// the messages before it were handled. FrameRate limits the number of frames. While output waits for a peer that does not read, the server does not
// read from it.
//
// # Clients and streams
//
// [Dial] makes a WebSocket to another server, on the loops of a server.Server; it is served as those of a Handler are. [Conn.NetConn] is a view of a
// WebSocket as a net.Conn, for libraries that want a stream, and then a goroutine of the program reads it.
//
// # Deadlines
//
// A peer from which nothing arrives is sent a ping after PingInterval, and cut off after PongTimeout. IdleTimeout limits the time without
// messages, ReadTimeout that of a frame, MessageTimeout that of a message in several frames, WriteTimeout that for which output waits, and
// CloseTimeout that of a close handshake. One timer for each loop checks all WebSockets of a Handler.
//
// # Compression
//
// With Config.Deflate, permessage-deflate (RFC 7692) is accepted without context takeover: a WebSocket holds no memory for it between two messages.
// A message that is longer than MaxMessage when it is decompressed ends with CloseTooBig, and takes no more memory than MaxMessage.
package websocket
