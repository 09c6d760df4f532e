"""The web page of `app.py`: scores clips that are dropped into a browser. It needs `requirements-app.txt`.

The modules, in the order of the data flow:

- `limits`: limits on uploads, and sentences about clips that exceed them;
- `private_folder`: temporary folder of uploads and results;
- `service`: scores one clip at a time, in worker processes;
- `examples`: clips of the demo set, generated on request;
- `wording`, `render`: results as plain English and as HTML;
- `page`: the Gradio page; `handlers`: its event handlers;
- `guard`: the only way in: checks every request, and hides the paths of the server;
- `server`: joins them and serves until Ctrl-C.

Only `page`, `handlers` and `server` import Gradio.
"""
