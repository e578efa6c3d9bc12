- 
x