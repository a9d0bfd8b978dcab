// Package ws has one WebSocket server for each library that is compared with httpd/websocket, below it, and load, which measures them. Its tests run
// all servers.
package ws
