"""A live page: a trained network on recordings, a simulated ECG, a file or a microphone, in real
time, for any number of viewers of one stream.

    tracks     what can be played, as samples and the encoder that makes steps of them
    playing    a recording, or a microphone, on its way through the encoder; noise, lost leads
    player     the thread that plays: its clock, its controls; it waits for nobody
    frames     what a stretch of steps looks like on the wire
    costs      firing rates and operations of the last seconds, beside those of an LSTM
    hub        from the player to the viewers: bounded queues, the newest wins
    app        pages, API and WebSocket, and who may see them
    server     the port, the address to open, the end
"""
