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
// connection reads its frames, and Config.Message is called for each message: on the loop while it is quick, and otherwise on a worker; see
// [server.Placement]. The messages of a WebSocket are handled one at a time, in their order. A WebSocket that waits for a message holds no
// goroutine and no buffer.
//
// # Writing
//
// Config.Message answers by its [Reply], whose methods may wait for the peer. Any goroutine may write to a [Conn], at any time, also while
// Message runs. A write to a Conn does not wait. It is refused with an error, or accepted; an accepted message is given to the kernel, or
// fails with the connection, and [Conn.WriteNotify] reports which. While as much output waits for a peer as Config.MaxOutput and the server
// permit, writes to the Conn fail with [ErrFull], and with Config.CutOffSlow the connection then ends.
//
// A message for many WebSockets is encoded and compressed once: see [Prepare], [Broadcast] and [Group]. A Group cuts off a member that refuses
// a broadcast with ErrFull, so that its client connects again; with GroupConfig.KeepSlow the member misses the message.
//
// # Closing
//
// [Conn.Close] sends a close frame after what was written, and the connection ends when the peer has answered, or after
// Config.CloseTimeout. The close frame of the peer is answered with the same code. If the peer breaks a rule of RFC 6455, the WebSocket is
// closed with the code for it: CloseProtocolError, CloseInvalidData for a text that is not UTF-8, CloseTooBig. Shutdown of the server
// closes each WebSocket with CloseGoingAway, and waits for the answers. Config.Closed is called with a [CloseError] that says how the
// WebSocket has ended.
//
// # Limits
//
// MaxMessage limits the length of a message. MaxFragments limits, for all WebSockets of a Handler together, the messages of which not all frames
// have arrived, and compressed messages when they are decompressed. A frame that is not complete counts as input of the server, which its
// MaxBuffered limits. A ping is answered in the order of the frames, when the messages before it were handled. FrameRate limits the number of
// frames. While output waits for a peer that does not read, the server does not read from it.
//
// # Clients and streams
//
// [Dial] opens a WebSocket to another server. A server.Server has the loops for it, and a Handler serves it. [Conn.NetConn] makes a WebSocket a
// net.Conn, for libraries that need a stream; then a goroutine of the program reads it.
//
// # Deadlines
//
// A peer from which nothing arrives for PingInterval is sent a ping, and is cut off if nothing arrives for PongTimeout after that.
// IdleTimeout limits the time without messages, ReadTimeout the time in which a frame arrives, MessageTimeout the time in which a message in
// several frames arrives, WriteTimeout the time for which output waits, and CloseTimeout the close handshake. One timer for each loop checks all
// WebSockets of a Handler.
//
// # Compression
//
// With Config.Deflate, permessage-deflate (RFC 7692) is accepted without context takeover: a WebSocket holds no memory for it between two
// messages. A message that is longer than MaxMessage when it is decompressed ends with CloseTooBig, and takes no more memory than
// MaxMessage.
package websocket
