//! Makes hostile text harmless before it is drawn, stored in a note or put in a message.
