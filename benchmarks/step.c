// One training step (forward, backward, adam) of an mlp with relu and mean squared error, for R runs: one after the other.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifndef SIZES
#define SIZES {10, 5, 1}
#define LAYERS 2
#define BATCH 4
#endif
static const int size[LAYERS + 1] = SIZES;
#define MAXW 64
static double now(void){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec+1e-9*t.tv_nsec;}
static float activations[LAYERS+1][BATCH*MAXW], grads[LAYERS+1][BATCH*MAXW];

static inline __attribute__((always_inline)) void forward(int D,int H,const float*restrict w,const float*restrict b,const float*restrict x,float*restrict y,int relu){
  for(int i=0;i<BATCH;i++){
    float acc[MAXW];
    for(int h=0;h<H;h++)acc[h]=b[h];
    for(int d=0;d<D;d++){float v=x[i*D+d];for(int h=0;h<H;h++)acc[h]+=v*w[d*H+h];}
    for(int h=0;h<H;h++)y[i*H+h]=relu&&acc[h]<0?0:acc[h];
  }
}
static inline __attribute__((always_inline)) void backward(int D,int H,const float*restrict w,const float*restrict x,const float*restrict gy,float*restrict gw,float*restrict gb,float*restrict gx){
  for(int h=0;h<H;h++)gb[h]=0;
  for(int i=0;i<BATCH;i++)for(int h=0;h<H;h++)gb[h]+=gy[i*H+h];
  for(int d=0;d<D;d++){
    float acc[MAXW];
    for(int h=0;h<H;h++)acc[h]=0;
    for(int i=0;i<BATCH;i++){float v=x[i*D+d];for(int h=0;h<H;h++)acc[h]+=v*gy[i*H+h];}
    for(int h=0;h<H;h++)gw[d*H+h]=acc[h];
  }
  if(gx)for(int i=0;i<BATCH;i++)for(int d=0;d<D;d++){
    float s=0;for(int h=0;h<H;h++)s+=gy[i*H+h]*w[d*H+h];
    gx[i*D+d]=x[i*D+d]>0?s:0;
  }
}
int main(int argc,char**argv){
  int R=atoi(argv[1]);int steps=atoi(argv[2]);
  const int S[LAYERS+1]=SIZES;
  int P=0;for(int l=0;l<LAYERS;l++)P+=(S[l]+1)*S[l+1];
  int N=266;
  float*theta=malloc(4L*R*P),*m=calloc(R*(long)P,4),*v=calloc(R*(long)P,4),*g=malloc(4L*P);
  float*X=malloc(4L*N*S[0]*R),*Y=malloc(4L*N*R);
  srand(1);
  #define U (rand()/(float)RAND_MAX-0.5f)
  for(long i=0;i<(long)R*P;i++)theta[i]=U*0.5f;
  for(long i=0;i<(long)R*N*S[0];i++)X[i]=U*3;
  for(long i=0;i<(long)R*N;i++)Y[i]=U;
  int*order=malloc(sizeof(int)*R*N);
  for(int r=0;r<R;r++){for(int i=0;i<N;i++)order[r*N+i]=i;for(int i=N-1;i>0;i--){int j=rand()%(i+1);int t=order[r*N+i];order[r*N+i]=order[r*N+j];order[r*N+j]=t;}}
  double best=1e9;double total=0;
  int t=0;
  int per=N/BATCH;
  for(int rep=0;rep<20;rep++){
  double t0=now();
  for(int s=0;s<steps;s++){
    t++;
    float c2=sqrtf(1-powf(0.999f,t)),c1=1-powf(0.9f,t);
    float lr=1e-3f*c2/c1,eps=1e-8f*c2;
    for(int r=0;r<R;r++){
      const int*o=order+(long)r*N+(s%per)*BATCH;
      float*th=theta+(long)r*P,*mm=m+(long)r*P,*vv=v+(long)r*P;
      float y[BATCH];
      for(int i=0;i<BATCH;i++){memcpy(activations[0]+i*S[0],X+((long)r*N+o[i])*S[0],4*S[0]);y[i]=Y[(long)r*N+o[i]];}
      int at[LAYERS+1];at[0]=0;
      #pragma GCC unroll 8
      for(int l=0;l<LAYERS;l++){
        forward(S[l],S[l+1],th+at[l],th+at[l]+S[l]*S[l+1],activations[l],activations[l+1],l+1<LAYERS);
        at[l+1]=at[l]+(S[l]+1)*S[l+1];
      }
      for(int i=0;i<BATCH;i++)grads[LAYERS][i]=2*(activations[LAYERS][i]-y[i])/BATCH;
      #pragma GCC unroll 8
      for(int l=LAYERS-1;l>=0;l--)
        backward(S[l],S[l+1],th+at[l],activations[l],grads[l+1],g+at[l],g+at[l]+S[l]*S[l+1],l?grads[l]:0);
      for(int p=0;p<P;p++){
        mm[p]+=0.1f*(g[p]-mm[p]);
        vv[p]=0.999f*vv[p]+0.001f*g[p]*g[p];
        th[p]-=lr*mm[p]/(sqrtf(vv[p])+eps);
      }
    }
  }
  double dt=(now()-t0)/steps/R; if(dt<best)best=dt; total+=dt;
  }
  float check=0;for(long i=0;i<(long)R*P;i++)check+=theta[i];
  printf("%s best %.4f mean %.4f us per step and run, check %g\n",argv[0],best*1e6,total/20*1e6,check);
}
